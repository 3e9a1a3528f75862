"""One file a noun, each with its `router`; the application finds them by listing this folder."""
