"""What the page has made of texts: what can be read, and whatever must not be there."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, expect

FORMULA = "∎"  # stands for a formula in what is read

READ = """() => {
  const BLOCKS = new Set("P LI TD TH TR PRE H1 H2 H3 H4 H5 H6 BLOCKQUOTE UL OL TABLE HR DIV BR".split(" "));
  const read = node => {
    if (node.nodeType === Node.TEXT_NODE) return node.nodeValue;
    if (node.nodeType !== Node.ELEMENT_NODE || ["BUTTON", "svg"].includes(node.tagName) && node.closest("pre, .stCode"))
      return "";
    if (node.classList.contains("katex")) return "∎";
    const text = [...node.childNodes].map(read).join("");
    return BLOCKS.has(node.tagName) ? `\\n${text}\\n` : text;
  };
  const count = (element, selector, within) =>
    [...element.querySelectorAll(selector)].filter(one => !one.closest(within || "no-element")).length;
  return [...document.querySelectorAll('[class*="st-key-text-"]')].map(element => ({
    text: read(element),
    loaded: count(element, "img, picture, video, audio, iframe, canvas, object, embed, script, style, form"),
    diagrams: count(element, "svg", ".katex, button, .stCode, [data-testid=stElementToolbar]"),
    colours: count(element, "[class*=stMarkdownColored], [class*=stMarkdownBadge]") +
      count(element, "[data-testid=stMarkdownContainer] :is(span[style], [role=img])", ".katex, pre, .stCode"),
    shimmers: count(element, ".stMarkdownShimmer"),
    footnotes: count(element, "sup, section, [data-footnote-ref], [data-footnote-backref]"),
    errors: count(element, ".katex-error, [style*=cc0000]") + count(element, "[data-testid=stException]"),
    links: [...element.querySelectorAll("a")].map(link => link.href),
    tags: [...element.querySelectorAll("*")].map(one => one.tagName.toLowerCase()),
  }));
}"""

SELECTED = """() => {
  getSelection().selectAllChildren(document.querySelector('[data-testid="stMainBlockContainer"]'));
  return getSelection().toString();
}"""


@dataclass(frozen=True)
class Drawn:
    """A text as the page shows it; the counts are those of elements."""

    text: str
    loaded: int
    diagrams: int
    colours: int
    shimmers: int
    footnotes: int
    errors: int
    links: list[str]
    tags: list[str]

    @property
    def line(self) -> str:
        """What can be read, with every white space as one."""
        return one_line(self.text)

    @property
    def unwanted(self) -> dict[str, int]:
        """What no text may bring about."""
        counts = {name: getattr(self, name) for name in ("loaded", "diagrams", "colours", "footnotes", "errors")}
        counts["addresses"] = sum(not link.startswith(("http://", "https://", "mailto:")) for link in self.links)
        return {name: count for name, count in counts.items() if count}


class TextPage:
    """The served page of texts, and the addresses that it asked for elsewhere."""

    def __init__(self, page: Page, address: str, home: Path) -> None:
        self.page, self.address, self.file = page, address, home / "menny" / "texts.json"
        self.asked: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))

    def draw(self, texts: Sequence[str], kind: str = "message") -> list[Drawn]:
        """Show the texts, and return what each has become."""
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text(json.dumps([kind, texts]), "utf-8")
        self.page.goto(self.address)
        expect(self.page.get_by_text("All is drawn.")).to_be_visible(timeout=120_000)
        expect(self.page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
        expect(self.page.get_by_test_id("stSkeleton")).to_have_count(0)
        drawn = [Drawn(**one) for one in self.page.evaluate(READ)]
        assert len(drawn) == len(texts)
        return drawn

    @property
    def asked_elsewhere(self) -> list[str]:
        """Addresses of other machines."""
        return [url for url in self.asked if not url.startswith((self.address, "data:", "blob:"))]


def one_line(text: str) -> str:
    return " ".join(text.split())
