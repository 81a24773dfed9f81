"""Source types: webcam, network camera, video file, synthetic scene."""
