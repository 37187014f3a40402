"""The part of the OpenAI API that a node speaks: requests, responses, streams and errors."""
