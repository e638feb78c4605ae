"""What makes an ordinary processor fast."""
