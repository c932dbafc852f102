"""Battles as pictures: scenes of the simulator's traces, drawn as images, films, pages and windows.

Reading order: `scene`, `effect`, `course` (what happened), `glyph`, `palette`, `ground` (what it
looks like), `picture` with `backdrop`, `sprite`, `canvas`, `marks`, `caption` (one image), `film`,
`page`, `window` (what shows them). The simulator does without it.
"""
