"""Play: prompts are delivered, the timeline is carried out, and what others did to nodes is taken up."""
