"""Judge a clip, tell its progress, keep the signed report: python video.py statement.mp4"""

import sys

from deepfake_client import Client, DeepfakeError

client = Client()
media = client.upload(sys.argv[1])
started = client.detect(media)
for job in client.stream(started):
    print(f"{job['status']:<10} {job.get('percent', 0):>3} %  {job.get('stage', '')}")
try:
    result = client.wait(started)["result"]
except DeepfakeError as error:
    sys.exit(f"no verdict: {error}")
print(result["label"], result["score"])
for branch in result["per_branch"]:
    print(f"  {branch['branch']:<12} {branch['state']:<8} {branch['sentence']}")
client.save_report(started, "report.pdf", format="pdf")
