"""A ring of nodes that run one model together: each holds some of its layers, and its own part of every sample's cache.

    head ──hidden rows──► stage ──hidden rows──► … ──hidden rows──► last stage
      ▲                                                                 │
      └────────────────────────────── tokens ◄──────────────────────────┘

A *sample* is one chat that is being completed. The head has the prompts, the tokenizer and the first layers, and
decides what goes round next (:mod:`.scheduling`); the last stage has the output matrix, and draws the tokens. All that
nodes say to each other is frames (:mod:`.frames`), on one lasting connection for each hop.
"""
