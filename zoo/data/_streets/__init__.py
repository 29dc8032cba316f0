"""Renderer of the procedural streets: one scene, drawn as a label map or photo-like."""
