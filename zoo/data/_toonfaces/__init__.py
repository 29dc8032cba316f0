"""Renderer of the procedural faces: one set of parameters, drawn photo-like or webtoon-like."""
