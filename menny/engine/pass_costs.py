"""What passes of the model take on this machine, measured while replies are decoded, and what follows from it."""

_FIRST_EXTRA = 0.15  # of a pass of one token, that each further token is thought to take until it is measured
_LIMIT = 2.0  # times what was usual, beyond which a pass of one token was held up by something else
_SLOWLY, _FAST = 0.05, 0.25  # the weight of a new measurement, of many and of few
_FORGETTING = (
    0.001  # of what a pass of several tokens took, at each of one: it may have been held up, so it is tried again
)


class PassCosts:
    """Times of passes by their tokens. It outlives replies, and belongs to the engine's thread."""

    def __init__(self) -> None:
        self._seconds = 0.0  # of a pass of one token; 0: not known yet
        self._costs: dict[int, float] = {}

    def observe(self, tokens: int, seconds: float) -> None:
        """Take in what a pass of so many tokens took."""
        if tokens > 1:
            if self._seconds:
                now = min(seconds / self._seconds, tokens)
                self._costs[tokens] = _nearer(self.cost(tokens), now, _FAST)
            return
        usual = self._seconds or seconds
        self._seconds = _nearer(usual, min(seconds, _LIMIT * usual), _SLOWLY)
        for count, cost in self._costs.items():
            self._costs[count] = _nearer(cost, _first_cost(count), _FORGETTING)

    def cost(self, tokens: int) -> float:
        """The time of a pass of so many tokens, in passes of one."""
        return self._costs.get(tokens, _first_cost(tokens))


def _first_cost(tokens: int) -> float:
    return 1 + _FIRST_EXTRA * (tokens - 1)


def _nearer(value: float, target: float, share: float) -> float:
    return value + share * (target - value)
