"""Videos that tests have written, read with OpenCV alone."""
import cv2


def read_video(path):
    """Frames a second, and the frames, integers RGB."""
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        found, frame = capture.read()
        if not found:
            return capture.get(cv2.CAP_PROP_FPS), frames
        frames.append(frame[..., ::-1].astype(int))
