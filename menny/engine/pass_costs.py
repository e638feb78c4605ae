"""PassCosts: the measured times of passes on this machine, by which drafts and threads are chosen."""

_FIRST_EXTRA = 0.15  # of a pass of one token: the assumed cost of each further token until it is measured
_LIMIT = 2.0  # times the usual: a slower pass of one token was delayed by something else
_SLOWLY, _FAST = 0.05, 0.25  # weights of a new measurement: of frequent ones, and of rare ones
_FORGETTING = 0.001  # of the cost of a pass of several tokens, at each one of a single token: it may have been delayed


class PassCosts:
    """The times of passes by their number of tokens. They outlive replies, and belong to the engine's thread."""

    def __init__(self) -> None:
        self.others = 0  # tokens of other replies in the passes that are computed now
        self._seconds = 0.0  # of a pass of one token; 0: not measured yet
        self._costs: dict[int, float] = {}

    def observe(self, tokens: int, seconds: float) -> None:
        """Record the time of a pass of `tokens` tokens."""
        if tokens > 1:
            if self._seconds:
                measured = min(seconds / self._seconds, tokens)
                self._costs[tokens] = _nearer(self._alone(tokens), measured, _FAST)
            return
        usual = self._seconds or seconds
        self._seconds = _nearer(usual, min(seconds, _LIMIT * usual), _SLOWLY)
        for count, cost in self._costs.items():
            self._costs[count] = _nearer(cost, _first_cost(count), _FORGETTING)

    def cost(self, tokens: int) -> float:
        """The time of a pass of `tokens` tokens, in passes of one token; each beside those of other replies."""
        if self.others:
            return self._alone(tokens + self.others) / self._alone(1 + self.others)
        return self._alone(tokens)

    def _alone(self, tokens: int) -> float:
        return self._costs.get(tokens, _first_cost(tokens))


def _first_cost(tokens: int) -> float:
    return 1 + _FIRST_EXTRA * (tokens - 1)


def _nearer(value: float, target: float, share: float) -> float:
    return value + share * (target - value)
