"""The shared-memory file between a traced program and a tracer. Format: docs/formats/session.md.

`layout` is numbers only; `directory` finds the runtime directory; `locks` tells who lives; `producer` and
`ring` are the program's side; `consumer` is the tracer's. Import the file that you need: a traced program
must not pay for the tracer's side.
"""
