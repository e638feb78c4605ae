"""What the theme can't say: a few rules for elements that carry a key of ours."""

import streamlit as st

CSS = """
<style>
/* Text as it was typed: the fonts would draw `->` as an arrow and `8x7` with a times sign. */
.stApp { font-variant-ligatures: no-contextual; }

/* The start: a picture that leaves room for the cards below it, also on a phone. */
.st-key-hero img { border-radius: 1.25rem; object-fit: cover; object-position: 50% 35%; }
.st-key-hero h1 { padding: 0; }
@media (max-width: 640px) {
  .st-key-hero img { aspect-ratio: 3 / 1; }
  .st-key-hero h1 { font-size: 1.45rem; }
  .st-key-hero [data-testid="stCaptionContainer"] { display: none; }
}

/* What to ask first: as low as pills, so that they are all in sight. */
.st-key-suggestions { gap: .35rem; }
.st-key-suggestions button { min-height: 2rem; padding-block: .15rem; }

/* Who goes by keyboard sees where they are, and needn't pass a button at every picture that would fill the screen. */
:is([data-testid="stTopNavLink"], [data-testid="stSidebarNavLink"]):focus-visible {
  outline: 2px solid #ff8617; outline-offset: 1px; }
[data-testid="stFullScreenFrame"]:has(img) [data-testid="stElementToolbar"] { display: none; }

/* A persona's card is one button, which lies over what the card shows. */
[class*="st-key-card-"] { position: relative; padding: .7rem .8rem; transition: background-color .15s; }
[class*="st-key-card-"]:hover { background-color: color-mix(in srgb, currentColor 5%, transparent); }
[class*="st-key-card-"]:focus-within { outline: 2px solid #ff8617; outline-offset: 2px; }
[class*="st-key-card-chosen-"] { border-color: #ff8617; background: light-dark(#ffefdc, #33264a); }
[class*="st-key-card-"] img { border-radius: .6rem; }
[class*="st-key-card-"] p { line-height: 1.3; }
[class*="st-key-no-avatar-"] { aspect-ratio: 1; flex: none; align-items: center; justify-content: center;
  border-radius: 22%; background: #ff8617; color: #14172f; }
[class*="st-key-no-avatar-"] p { text-align: center; line-height: 1; }
[class*="st-key-no-avatar-64-"] p { font-size: 2rem; }
[class*="st-key-card-"] [class*="st-key-talk-"] { position: absolute; inset: 0; width: 100%; height: 100%; }
[class*="st-key-talk-"] :is(div, button) { width: 100%; height: 100%; }
[class*="st-key-talk-"] button { opacity: 0; cursor: pointer; }

@media (max-width: 640px) { [class*="st-key-card-"] { padding: .5rem .65rem; } }

/* What the user said stands on a ground of its own. */
[class*="st-key-user-"] .stChatMessage { background-color: light-dark(#fdf3e6, #20254a); }

/* Personas: as wide as is still read well; what the model is told stays in sight while the fields are scrolled. */
.stMainBlockContainer:has(.st-key-personas, .st-key-models) { max-width: 1200px; padding-top: 4.5rem; }
[data-testid="stBottomBlockContainer"]:has(.st-key-persona-end) { max-width: 1200px; margin: 0 auto; }
:is(.st-key-personas, .st-key-models) h1 { padding: 0; }
@media (min-width: 768px) {
  .stColumn:has(.st-key-persona-preview) { position: sticky; top: 4.5rem; align-self: flex-start; }
  .st-key-persona-preview { max-height: calc(100vh - 11rem); overflow-y: auto; }
}

/* Words on the colour of what matters most: white on the dark theme's orange would be hard to read. */
[data-testid^="stBaseButton-primary"]:not(:disabled) { color: light-dark(#fff, #14172f); }
[data-testid^="stBaseButton-primary"]:is(:hover, :active):not(:disabled) {
  background-color: light-dark(#a8330c, #ff8a55); border-color: transparent; }
.stMultiSelect span[title] { color: light-dark(#fff, #14172f); }
[kind="tertiary"][aria-expanded="true"] { color: inherit; }

/* A list of choices shows its words whole, also where the box it hangs on is narrower. */
[data-testid="stSelectboxVirtualDropdown"] { width: max-content !important; min-width: var(--trigger-width);
  max-width: calc(100vw - 3.5rem); }

/* What lies behind a dialog goes dark. */
[data-testid="stDialog"] { background: rgb(10 12 30 / .5); }

/* In a narrow window the sidebar begins with the other pages. */
[data-testid="stSidebarNav"] { margin-bottom: .75rem; }

/* Moderation: what becomes of messages and of replies, side by side. */
.st-key-moderation [data-testid="stWidgetLabel"] p { font-size: .8rem; white-space: nowrap; }

/* Markdown in a message: headings that don't shout, tables that scroll by themselves, code that can be read. */
.stChatMessage :is(h1, h2, h3) { padding: .5rem 0 .35rem; }
.stChatMessage h1 { font-size: 1.45rem; }
.stChatMessage h2 { font-size: 1.25rem; }
.stChatMessage h3 { font-size: 1.1rem; }
.stChatMessage [data-testid="stMarkdownContainer"] > :is(h1, h2, h3):first-child { padding-top: 0; }
.stChatMessage table { display: block; max-width: 100%; overflow-x: auto; }
.stChatMessage :is(th, td) { min-width: 5.5rem; }
.stCode pre .token:is(.comment, .prolog, .doctype, .cdata, .punctuation) { color: light-dark(#5f6380, #a3a8c8); }
.stCode pre .token:is(.attr-name, .property, .variable) { color: light-dark(#00669e, #7cc4ff); }
.stCode pre .token:is(.number, .regex, .boolean, .constant, .symbol) { color: light-dark(#00706b, #4fd1b8); }
.stCode pre .token:is(.string, .char, .attr-value) { color: light-dark(#0e7a2c, #5fd38d); }
.stCode pre .token:is(.operator, .entity, .decorator, .atrule) { color: light-dark(#9a4d00, #ffb45e); }
.stCode pre .token:is(.keyword, .tag, .function, .class-name, .selector) { color: light-dark(#1a5fa8, #7db4ff); }

/* A message's small buttons keep close to it. */
.stChatMessage [data-testid="stVerticalBlock"] { gap: .35rem; }

/* The list of chats: titles to the left, the open one on a ground of its own; it scrolls by itself when it is long. */
.st-key-chats { max-height: max(14rem, 40vh); overflow-y: auto; width: calc(100% + 1rem); max-width: none;
  margin: 0 -.5rem; padding: 0 .1rem; }
.st-key-chats [data-testid="stCaptionContainer"] { padding: .35rem .4rem 0; }
[class*="st-key-chat-row-"], [class*="st-key-hit-"] { border-radius: .6rem; margin: 0; padding: 0 .4rem; }
[class*="st-key-chat-row-"]:hover, [class*="st-key-chat-row-open-"], [class*="st-key-hit-"]:hover {
  background: color-mix(in srgb, currentColor 7%, transparent); }
[class*="st-key-open-"] button, [class*="st-key-found-"] button { justify-content: flex-start; text-align: left; }
[class*="st-key-open-"] button > div, [class*="st-key-found-"] button > div { justify-content: flex-start; }
:is([class*="st-key-open-"], [class*="st-key-menu-"]) button { min-height: 2rem; }
:is([class*="st-key-open-"], [class*="st-key-found-"]) button { color: inherit; }
[class*="st-key-menu-"] button { min-width: 1.75rem; }
.st-key-more-chats { padding-left: .4rem; }
[class*="st-key-menu-"] button p { position: absolute; width: 1px; height: 1px; clip-path: inset(50%); overflow: hidden;
}
[class*="st-key-menu-"] button > div > :last-child:not(:first-child) { display: none; }
[class*="st-key-found-"] .stMarkdownColoredBackground { background: light-dark(#ffd9a3, #6b4a16) !important; }

/* What the model no longer sees stands back; read it, and it comes forward. */
[class*="st-key-unseen-"] { opacity: .66; transition: opacity .15s; }
[class*="st-key-unseen-"]:is(:hover, :focus-within) { opacity: 1; }

/* How the context is used: a bar of shares, and what they are. */
.menny-meter p { margin: 0 0 .3rem; font-size: .8rem; opacity: .75; font-variant-numeric: tabular-nums; }
.menny-meter div { display: flex; gap: 1px; height: 8px; border-radius: 4px; overflow: hidden;
  background: color-mix(in srgb, currentColor 10%, transparent); }
.menny-meter span { flex-basis: 0; min-width: 2px; background: var(--share); }
.menny-meter ul { display: flex; flex-wrap: wrap; gap: 0 .8rem; margin: .35rem 0 0; padding: 0; list-style: none;
  font-size: .75rem; font-variant-numeric: tabular-nums; }
.menny-meter li { margin: 0; white-space: nowrap; opacity: .85; }
.menny-meter li::before { content: ""; display: inline-block; width: .55em; height: .55em; margin-right: .4em;
  border-radius: 50%; background: var(--share);
  box-shadow: 0 0 0 1px color-mix(in srgb, currentColor 25%, transparent); }
.menny-meter .told { --share: light-dark(#434a86, #8f98e8); }
.menny-meter .summary { --share: light-dark(#e0a100, #ffd25e); }
.menny-meter .turns { --share: light-dark(#c63d10, #ef6229); }
.menny-meter .reply { --share:
  repeating-linear-gradient(135deg, color-mix(in srgb, currentColor 40%, transparent) 0 2px, transparent 2px 4px); }
.menny-meter .free { --share: transparent; }

/* What has nothing to show takes no place. */
.st-key-shortcuts { position: absolute; }

/* The message box keeps close to the lower edge. */
[data-testid="stBottomBlockContainer"] { padding-bottom: .75rem; }
[data-testid="stBottomBlockContainer"] [data-testid="stVerticalBlock"] { gap: .5rem; }
@media (max-width: 640px) {
  [data-testid="stHorizontalBlock"]:has(> .st-key-shield) { row-gap: 0; }
  [data-testid="stHorizontalBlock"]:has(> .st-key-shield) [data-testid="stCaptionContainer"] p { font-size: .75rem; }
  .stChatMessage { padding: .75rem; }
}

@media (prefers-reduced-motion: reduce) { * { animation-duration: .01ms !important; transition: none !important; } }
</style>
"""


def apply_style() -> None:
    """Add the rules to the page."""
    st.html(CSS)
