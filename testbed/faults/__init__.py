"""What can go wrong in a scenario: one file a fault, with its schema, what it does and how that is undone.

A package of somebody else's adds a fault by an entry point of the group ``testbed.faults``: its name is the key in the
timeline, its object a class derived from :class:`testbed.schema.fault.Fault`.
"""
