"""The page of personas: who there is to talk to, and how one makes, changes and passes on somebody of one's own."""
