"""A ring of nodes that run one model together. Each holds some layers, and those layers' cache of every sample.

    head ──hidden rows──► stage ──hidden rows──► … ──hidden rows──► last stage
      ▲                                                                 │
      └────────────────────────────── tokens ◄──────────────────────────┘

A *sample* is one chat that is being completed. The head has the prompts, the tokenizer and the first layers, and
decides which batch goes round next (:mod:`.scheduling`). The last stage has the output matrix, and draws the tokens.
Nodes exchange frames (:mod:`.wire.frames`) on one connection for each hop, which stays open.
"""
