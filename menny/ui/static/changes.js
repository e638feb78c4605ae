// Asks the server whether what the page shows has changed, and has the page drawn again when it has: a reply has ended,
// or another tab, or another program, has changed the chat, the list or the settings. `data` is `Watch` in changes.py.
//
// The answer costs the server a look at a few counters, and no run of the page's script.

const EVERY = 1500, EVERY_HIDDEN = 5000 // milliseconds; a browser calls the timers of a hidden page rarely
const AGAIN = 6000 // milliseconds after which a change that was reported and not drawn is reported again
const AT_REST = '[data-test-script-state="notRunning"]'

function watchOf(element) {
  const watch = { element, data: null, report: null, reported: "", due: 0, timer: 0 }
  const look = async () => {
    clearTimeout(watch.timer)
    if (!watch.element.isConnected) return
    await ask(watch)
    watch.timer = setTimeout(look, document.hidden ? EVERY_HIDDEN : EVERY)
  }
  document.addEventListener("visibilitychange", () => { if (!document.hidden) look() })
  watch.timer = setTimeout(look, EVERY)
  return watch
}

async function ask(watch) {
  const { chat, seen } = watch.data
  try {
    const path = location.pathname.replace(/\/*$/, "/")
    const answer = await fetch(`${path}menny/changes?chat=${encodeURIComponent(chat)}`, { cache: "no-store" })
    if (!answer.ok) return
    const now = await answer.text()
    if (watch.data.seen !== seen || now === seen) return
    if (now === watch.reported && performance.now() < watch.due) return
    if (!document.querySelector(AT_REST)) return
    watch.reported = now
    watch.due = performance.now() + AGAIN
    watch.report(now)
  } catch {
    // The server is away: Streamlit's dialog says so, and the next look may find it.
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  const watch = parentElement.mennyWatch ??= watchOf(parentElement)
  watch.data = data
  watch.report = now => setTriggerValue("changed", now)
}
