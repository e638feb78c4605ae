"""The row of small buttons below a message: one element, so that a long chat stays light.

Copying happens in the browser; every other button tells the page its name, and what was chosen with it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

_HTML = '<div class="bar"></div>'

_CSS = """
.bar { display: flex; align-items: center; gap: 2px; margin-left: -7px; color: var(--st-text-color); }
button { all: unset; box-sizing: border-box; position: relative; display: grid; place-items: center;
  width: 30px; height: 30px; border-radius: 9px; cursor: pointer; opacity: .6; }
button:hover { opacity: 1; background: color-mix(in srgb, currentColor 9%, transparent); }
button:focus-visible { opacity: 1; outline: 2px solid var(--st-primary-color); }
button:disabled { cursor: default; opacity: .25; background: none; }
.pick { width: 24px; margin-left: -5px; }
.menu { position: fixed; inset: auto; margin: 0; padding: 6px; min-width: 190px; max-height: 55vh; overflow-y: auto;
  font: 14px var(--st-font); color: var(--st-text-color); background: var(--st-background-color);
  border: 1px solid var(--st-border-color); border-radius: 12px; box-shadow: 0 8px 28px rgb(0 0 0 / .18); }
.menu p { margin: 6px 10px 4px; font-size: 12px; opacity: .65; }
.menu button { display: block; width: 100%; height: auto; padding: 7px 10px; opacity: 1; }
.step { width: 24px; }
.at { font: 500 12.5px var(--st-font); font-variant-numeric: tabular-nums; opacity: .7; }
svg { width: 16px; height: 16px; fill: none; stroke: currentColor; stroke-width: 2; stroke-linecap: round;
  stroke-linejoin: round; }
.pick svg { width: 12px; height: 12px; }
@media (pointer: coarse) { button { width: 34px; height: 34px; } .pick { width: 26px; } }
"""

_JS = """
const ICONS = {
  Copy: '<rect x="9" y="9" width="12" height="12" rx="2.5"/>' +
    '<path d="M5 15H4a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1h10a1 1 0 0 1 1 1v1"/>',
  Copied: '<path d="M4 12.5l5.5 5.5L20 7"/>',
  Edit: '<path d="M4 20l1-4L16.5 4.5a2.1 2.1 0 0 1 3 3L8 19z"/>',
  Regenerate: '<path d="M20 11a8 8 0 1 0-.6 4"/><path d="M20 4v7h-7"/>',
  Delete: '<path d="M4 7h16M9 7V4h6v3M6.5 7l1 13h9l1-13"/>',
  Previous: '<path d="M15 5l-7 7 7 7"/>',
  Next: '<path d="M9 5l7 7-7 7"/>',
  More: '<path d="M5 9l7 7 7-7"/>',
}
const icon = name => `<svg viewBox="0 0 24 24" aria-hidden="true">${ICONS[name]}</svg>`

function button(name, label, onclick, kind = "") {
  const made = document.createElement("button")
  Object.assign(made, { type: "button", title: label, className: kind, innerHTML: icon(name), onclick })
  made.setAttribute("aria-label", label)
  return made
}

async function write(text, parent) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text)
  const area = document.createElement("textarea")  // a page served without https, on another address
  area.value = text
  parent.appendChild(area)
  area.select()
  document.execCommand("copy")
  area.remove()
}

function copyButton(label, text, bar) {
  const made = button("Copy", label, async () => {
    await write(text, bar)
    made.innerHTML = icon("Copied")
    made.setAttribute("aria-label", "Copied")
    setTimeout(() => { made.innerHTML = icon("Copy"); made.setAttribute("aria-label", label) }, 1500)
  })
  return made
}

function picker(label, groups, tell) {
  const made = button("More", label, () => {
    const menu = document.createElement("div")  // made when it is asked for: most never are
    menu.className = "menu"
    menu.popover = "auto"
    menu.setAttribute("role", "menu")
    for (const [title, choices] of groups) {
      const heading = document.createElement("p")
      heading.textContent = title
      menu.append(heading)
      for (const [value, name] of choices) {
        const choice = document.createElement("button")
        Object.assign(choice, { type: "button", textContent: name, onclick: () => { menu.hidePopover(); tell(value) } })
        choice.setAttribute("role", "menuitem")
        menu.append(choice)
      }
    }
    menu.onkeydown = event => {
      const way = { ArrowDown: 1, ArrowUp: -1 }[event.key]
      if (!way) return
      event.preventDefault()
      const rows = [...menu.querySelectorAll("button")], at = rows.indexOf(event.target)
      rows[(at + way + rows.length) % rows.length].focus()
    }
    menu.ontoggle = event => { if (event.newState === "closed") { menu.remove(); made.focus() } }
    made.parentElement.append(menu)
    menu.showPopover()
    const place = made.getBoundingClientRect(), { width, height } = menu.getBoundingClientRect()
    menu.style.left = `${Math.max(8, Math.min(place.left, innerWidth - width - 8))}px`
    const fits = place.bottom + height + 8 < innerHeight
    menu.style.top = `${fits ? place.bottom + 4 : Math.max(8, place.top - height - 4)}px`
    menu.querySelector("button")?.focus()
  }, "pick")
  made.setAttribute("aria-haspopup", "menu")
  return made
}

export default function ({ data, parentElement, setTriggerValue }) {
  const bar = parentElement.querySelector(".bar")
  const shown = JSON.stringify(data)
  if (bar.dataset.shown === shown) return
  bar.dataset.shown = shown
  const tell = (name, value = "") => setTriggerValue("used", { name, value })
  bar.replaceChildren()
  if (data.of > 1) {
    const back = button("Previous", "Previous version", () => tell("step", data.before), "step")
    const on = button("Next", "Next version", () => tell("step", data.after), "step")
    back.disabled = !data.before
    on.disabled = !data.after
    const at = document.createElement("span")
    at.className = "at"
    at.textContent = `${data.at}/${data.of}`
    bar.append(back, at, on)
  }
  if (data.text) bar.append(copyButton(data.copyLabel, data.text, bar))
  for (const [name, label] of data.tools) bar.append(button(name, label, () => tell(name.toLowerCase())))
  if (data.choices.length) {
    const last = bar.querySelector("[title^=Regenerate]")
    last.after(picker("Regenerate by another", data.choices, value => tell("regenerate", value)))
  }
}
"""

Choices = Sequence[tuple[str, Sequence[tuple[str, str]]]]


@dataclass(frozen=True, slots=True)
class Bar:
    """What a message's row offers: its text to copy, tools by icon and label, and its place among alternatives."""

    text: str
    copy_label: str
    tools: Sequence[tuple[str, str]] = ()
    alternatives: Sequence[str] = ()
    this: str = ""
    choices: Choices = ()


def message_bar(bar: Bar, key: str, on_use: Callable[[str, str], None]) -> None:
    """Draw the row; `on_use` hears the name of the tool, and a value: the alternative, or the choice."""
    key = key.replace("_", ".")  # Streamlit refuses two in a row, which an id may have
    at = bar.alternatives.index(bar.this) if bar.this in bar.alternatives else 0
    around = ["", *bar.alternatives, ""]

    def used() -> None:
        if told := st.session_state[key].used:
            on_use(str(told["name"]), str(told["value"]))

    component = st.components.v2.component("menny_message_bar", html=_HTML, css=_CSS, js=_JS)
    component(
        data={
            "text": bar.text,
            "copyLabel": bar.copy_label,
            "tools": [list(tool) for tool in bar.tools],
            "choices": [[title, [list(choice) for choice in group]] for title, group in bar.choices if group],
            "at": at + 1,
            "of": len(bar.alternatives),
            "before": around[at],
            "after": around[at + 2] if at + 2 < len(around) else "",
        },
        key=key,
        width="content",
        height=30,
        on_used_change=used,
    )
