"""A tab without a browser: the page as Streamlit sends it over its websocket, for tests that open many."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol


@contextmanager
def open_tab(address: str, chat: str = "") -> "Iterator[Tab]":
    """Open the page, at a chat if one is named, and wait until it is drawn."""
    url = address.replace("http://", "ws://") + "/_stcore/stream"
    with connect(url, subprotocols=[Subprotocol("streamlit")], max_size=None) as socket:
        tab = Tab(socket)
        tab.open(chat)
        yield tab


class Tab:
    """What a tab has been shown, and its ways to answer."""

    def __init__(self, socket: ClientConnection) -> None:
        self.chat = ""
        self.shown: dict[tuple[int, ...], str] = {}  # texts and buttons by their place
        self.is_drawn = False
        self._box = ""
        self._socket = socket

    def open(self, chat: str) -> None:
        """Ask for the page."""
        asked = BackMsg()
        asked.rerun_script.query_string = f"chat={chat}" if chat else ""
        self._socket.send(asked.SerializeToString())
        self.read(lambda: self.is_drawn)

    @property
    def texts(self) -> list[str]:
        return list(self.shown.values())

    def say(self, text: str) -> None:
        """Send a message."""
        sent = BackMsg()
        widget = sent.rerun_script.widget_states.widgets.add()
        widget.id, widget.chat_input_value.data = self._box, text
        self._socket.send(sent.SerializeToString())

    def read(self, is_enough: Callable[[], bool], seconds: float | None = 60) -> None:
        """Take in what the page draws; TimeoutError where nothing comes for so long."""
        while not is_enough():
            self._take(ForwardMsg.FromString(self._socket.recv(seconds, decode=False)))

    def _take(self, message: ForwardMsg) -> None:
        match message.WhichOneof("type"):
            case "delta" if message.delta.WhichOneof("type") == "new_element":
                place, element = tuple(message.metadata.delta_path), message.delta.new_element
                self.shown[place] = _text_of(element)
                if element.WhichOneof("type") == "chat_input":
                    self._box = element.chat_input.id
            case "page_info_changed":
                self.chat = parse_qs(message.page_info_changed.query_string).get("chat", [""])[0]
            case "script_finished":
                self.is_drawn = True


def _text_of(element: Element) -> str:
    match element.WhichOneof("type"):
        case "markdown":
            return element.markdown.body
        case "text":
            return element.text.body
        case "button":
            return element.button.label
        case _:
            return ""
