"""Whatever is asked, asked again, chosen and deleted: the tree is what a plain model of it says."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from menny.storage import ChatStore, new_id


class Conversing(RuleBasedStateMachine):
    """A conversation in the store, and beside it a tree of dictionaries."""

    @initialize()
    def open(self) -> None:
        self.store, self.chat = ChatStore(), new_id()
        self.children: dict[str | None, list[str]] = {None: []}
        self.chosen: dict[str | None, str] = {}
        self.cuts: list[tuple[str, list[tuple[str | None, str]]]] = []
        self.texts: dict[str, str] = {}

    def teardown(self) -> None:
        self.store.close()

    def path(self) -> list[str]:
        path: list[str] = []
        at: str | None = None
        while level := self.children.get(at, []):
            at = self.chosen[at] if self.chosen.get(at) in level else level[-1]
            path.append(at)
        return path

    def add(self, parent: str | None, entry: str, text: str) -> None:
        self.children.setdefault(parent, []).append(entry)
        self.children[entry] = []
        self.chosen[parent] = entry
        self.texts[entry] = text

    def ask(self, parent: str | None, text: str) -> None:
        question, reply = self.store.ask(self.chat, parent, text)
        self.store.finish(reply.id, f"{text}!", "stop")
        self.add(parent, question.id, text)
        self.add(question.id, reply.id, f"{text}!")

    def below(self, entry: str) -> list[tuple[str | None, str]]:
        found: list[tuple[str | None, str]] = []
        rest = [entry]
        while rest:
            at = rest.pop()
            found += [(at, child) for child in self.children[at]]
            rest += self.children[at]
        return found

    @rule(text=st.text("abc", min_size=1, max_size=3))
    def go_on(self, text: str) -> None:
        path = self.path()
        self.ask(path[-1] if path and len(path) % 2 == 0 else (path[-2] if len(path) > 1 else None), text)

    @precondition(lambda self: self.path())
    @rule(data=st.data(), text=st.text("xyz", min_size=1, max_size=3))
    def edit(self, data: st.DataObject, text: str) -> None:
        path = self.path()
        number = data.draw(st.sampled_from(range(0, len(path), 2)))
        self.ask(path[number - 1] if number else None, text)

    @precondition(lambda self: self.path())
    @rule(data=st.data())
    def ask_again(self, data: st.DataObject) -> None:
        question = data.draw(st.sampled_from(self.path()[::2]))
        reply = self.store.ask_again(question)
        self.store.finish(reply.id, "again", "stop")
        self.add(question, reply.id, "again")

    @precondition(lambda self: self.path())
    @rule(data=st.data())
    def step_aside(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.store.path(self.chat)))
        sibling = data.draw(st.sampled_from(entry.alternatives))
        self.store.choose(sibling)
        path = self.path()
        for parent, child in zip([None, *path], path, strict=False):
            self.chosen[parent] = child
        self.chosen[entry.parent] = sibling

    @precondition(lambda self: self.path())
    @rule(data=st.data())
    def delete_branch(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.store.path(self.chat)))
        self.store.delete_branch(entry.id)
        self.children[entry.parent].remove(entry.id)
        self.cuts.append((entry.id, [(entry.parent, entry.id)]))

    @precondition(lambda self: self.cuts)
    @rule()
    def restore_branch(self) -> None:
        entry, ((parent, _),) = self.cuts.pop()
        self.store.restore_branch(entry)
        order = [one.id for one in self.store.transcript(self.chat).entries]
        self.children[parent] = sorted([*self.children[parent], entry], key=order.index)

    @invariant()
    def the_path_and_its_alternatives_are_the_models(self) -> None:
        if not hasattr(self, "store"):
            return
        entries = self.store.path(self.chat)
        assert [entry.id for entry in entries] == self.path()
        assert [entry.text for entry in entries] == [self.texts[entry.id] for entry in entries]
        assert all(entry.alternatives == tuple(self.children[entry.parent]) for entry in entries)
        assert [entry.role for entry in entries] == ["user", "assistant"] * (len(entries) // 2) + (
            ["user"] if len(entries) % 2 else []
        )


TestConversing = Conversing.TestCase
TestConversing.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
