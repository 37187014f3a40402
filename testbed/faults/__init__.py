"""Faults, one file each, with its schema and its effects.

Another package adds a fault by an entry point of the group ``testbed.faults``. Its name is the key in the timeline, its
object a class derived from :class:`testbed.schema.fault.Fault`.
"""
