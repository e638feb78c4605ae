"""The page of personas: a gallery of all there are, and the editor, import and export of the user's own."""
