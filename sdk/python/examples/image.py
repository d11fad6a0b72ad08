"""Judge a picture: python image.py portrait.jpg"""

import sys

from deepfake_client import Client

client = Client()  # DEEPFAKE_API_KEY, DEEPFAKE_URL
job = client.wait(client.detect(sys.argv[1], mode="image"))
result = job["result"]
print(result["label"], result["score"], result["rationale"])
print("what the face check looked at:", result["explanations"]["saliency_map"])
