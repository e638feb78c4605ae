"""Read the Markdown of a message, and write it anew so that the page can't read it any other way.

The page's own parser (react-markdown with GitHub's extensions, maths, and Streamlit's directives) sees nothing that a
model or a user wrote, only what is written here from our own tree.
"""
