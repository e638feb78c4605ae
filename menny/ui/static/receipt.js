// The text of a prompt, as `segments` of [whether it is a control token, text]. All of it is set as text, never as HTML.

export default function ({ data, parentElement }) {
  const parts = data.segments.map(([isControl, text]) => {
    const part = document.createElement(isControl ? "mark" : "span")
    part.textContent = text
    return part
  })
  parentElement.querySelector("pre").replaceChildren(...parts)
}
