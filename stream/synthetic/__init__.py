"""Synthetic video with ground truth: the demo camera and the pretraining clips.

A stage is a background and a camera model with image degradations. Actors move in front of it:
things (objects) or people (skeletons), drawn on a canvas. Their motion is a function of time, so
the same code renders a training clip of 8 frames and a camera frame at any moment.
"""
