"""Judge a voice recording, or only the sound of a clip: python audio.py call.wav"""

import sys

from deepfake_client import Client

client = Client()
with open(sys.argv[1], "rb") as recording:
    job = client.detect(recording, mode="audio")
result = client.wait(job)["result"]
print(result["label"], result["score"], result["rationale"])
