// The row of small buttons below a message. `data` is what `Bar` in message_bar.py says; a click is reported as the
// trigger `used`, with the tool's name and a value.

const ICONS = {
  Copy: '<rect x="9" y="9" width="12" height="12" rx="2.5"/>' +
    '<path d="M5 15H4a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1h10a1 1 0 0 1 1 1v1"/>',
  Copied: '<path d="M4 12.5l5.5 5.5L20 7"/>',
  Edit: '<path d="M4 20l1-4L16.5 4.5a2.1 2.1 0 0 1 3 3L8 19z"/>',
  Regenerate: '<path d="M20 11a8 8 0 1 0-.6 4"/><path d="M20 4v7h-7"/>',
  Delete: '<path d="M4 7h16M9 7V4h6v3M6.5 7l1 13h9l1-13"/>',
  Previous: '<path d="M15 5l-7 7 7 7"/>',
  Next: '<path d="M9 5l7 7-7 7"/>',
  Original: '<path d="M4 10a8 8 0 1 1-.5 4"/><path d="M3 4v6h6"/><path d="M12 8v5l3 2"/>',
  Branch: '<circle cx="6" cy="5" r="2.5"/><circle cx="6" cy="19" r="2.5"/><circle cx="18" cy="7" r="2.5"/>' +
    '<path d="M6 7.5v9M18 9.5c0 4-6 3.5-11.5 7"/>',
  Receipt: '<path d="M5 3h14v18l-3.5-2-3.5 2-3.5-2L5 21z"/><path d="M9 8h6M9 12h6"/>',
  Send: '<path d="M12 20V5M5.5 11.5L12 5l6.5 6.5"/>',
  Remove: '<path d="M5 5l14 14M19 5L5 19"/>',
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

function picker(label, groups, report) {
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
        Object.assign(choice, { type: "button", textContent: name, onclick: () => { menu.hidePopover(); report(value) },
          dir: "auto" })
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

// The button that had the focus has it again after the row was made anew. Another version of a message has a row of its
// own: who steps to it by keyboard goes on from there.
function keepFocus(bar, held) {
  const stepped = window.mennyStepped
  const isNew = stepped && performance.now() - stepped.at < 5000 && bar.querySelector(".step")
  if (isNew) window.mennyStepped = null
  const label = held ?? (isNew && stepped.label)
  const wanted = label && [...bar.querySelectorAll("button")].find(one => one.ariaLabel === label)
  const other = wanted?.disabled && bar.querySelector(".step:not(:disabled)")
  ;(other || wanted)?.focus()
}

export default function ({ data, parentElement, setTriggerValue }) {
  const bar = parentElement.querySelector(".bar")
  const shown = JSON.stringify(data)
  if (bar.dataset.shown === shown) return
  bar.dataset.shown = shown
  const held = bar.getRootNode().activeElement?.ariaLabel
  const report = (name, value = "") => {
    if (name === "step") window.mennyStepped = { label: bar.getRootNode().activeElement?.ariaLabel, at: performance.now() }
    setTriggerValue("used", { name, value })
  }
  bar.replaceChildren()
  if (data.of > 1) {
    const back = button("Previous", "Previous version", () => report("step", data.before), "step")
    const on = button("Next", "Next version", () => report("step", data.after), "step")
    back.disabled = !data.before
    on.disabled = !data.after
    const at = document.createElement("span")
    at.className = "at"
    at.textContent = `${data.at}/${data.of}`
    bar.append(back, at, on)
  }
  if (data.text) bar.append(copyButton(data.copyLabel, data.text, bar))
  for (const [name, label] of data.tools) bar.append(button(name, label, () => report(name.toLowerCase())))
  if (data.choices.length) {
    const last = bar.querySelector("[title^=Regenerate]")
    last.after(picker("Regenerate with another", data.choices, value => report("regenerate", value)))
  }
  keepFocus(bar, held)
}
