"""The child process that holds one GGUF file: `xllamacpp.Server` on a loopback port, and nothing else.

Run by path, never imported. The first line of standard input is its configuration as JSON (the key is not in the arguments
or the environment, where other users could read it); it answers with one JSON line, then serves until standard input
closes, so it cannot outlive its parent. With a `projector` it takes pictures, each in the place of the configured `marker`.
Knows no prompt and no model beyond the paths it is given.
"""

import json
import os
import sys

# Whose template is never used: we render prompts. This one only lets it count a picture by itself.
BARE_TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"


def main() -> None:
    os.environ["GGML_NO_BACKTRACE"] = "1"  # where there is a debugger, the end of the log would be its words instead of the reason
    import xllamacpp

    config = json.loads(sys.stdin.readline())
    params = xllamacpp.CommonParams()
    params.model.path = config["model"]
    params.n_parallel = config["slots"]
    params.n_ctx = config["slots"] * config["context"]
    params.n_batch = params.n_ubatch = config["batch"]
    params.n_gpu_layers = config["gpu_layers"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = config["threads"]
    # Waiting threads sleep instead of spinning. Measured on 2 cores: alone the same speed; beside a second busy model, spinning
    # threads starved each other (60 tokens took 127 s in one run of two, 5 s without spinning).
    params.cpuparams.poll = params.cpuparams_batch.poll = 0
    params.cache_ram_mib = 0  # beyond the slots themselves nothing is kept: memory stays what was planned
    params.fit_params = False
    params.warmup = False
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.api_keys = [config["key"]]
    params.cors_origins = ""
    params.ui = False
    params.endpoint_slots = params.endpoint_props = False
    if config["projector"]:
        os.environ["LLAMA_MEDIA_MARKER"] = config["marker"]
        params.mmproj.path = config["projector"]
        params.mmproj_use_gpu = config["gpu_layers"] != 0
        params.chat_template = BARE_TEMPLATE
    server = xllamacpp.Server(params)
    sys.stdout.write(json.dumps({"address": server.listening_address}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()  # returns when the parent goes, or closes its end
    os._exit(0)  # the server's destructor can hang; the process ends without it


if __name__ == "__main__":
    main()
