"""A trained model behind HTTP: OpenAI's API for transcription, and a page in the browser."""
