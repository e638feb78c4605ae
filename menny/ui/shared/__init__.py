"""What all pages share: the engine, the options, styles, shortcuts and pictures."""
