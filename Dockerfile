# docker build -t puyu-studio .                                              GGUF models and endpoints
# docker build -t puyu-studio --build-arg REQUIREMENTS=requirements.txt .    safetensors models too
# docker run -p 7860:7860 -v puyu-data:/data puyu-studio
FROM python:3.12-slim

# llama.cpp is built with OpenMP, whose library slim images lack; bubblewrap isolates model-written code where the host allows it
# (docs/sandbox.md); the font draws Chinese in its plots; clip art, and the program that draws it, illustrate articles without a network; Pango
# sets their PDF
RUN apt-get update -qq \
    && apt-get install -qq -y --no-install-recommends \
        libgomp1 bubblewrap fonts-wqy-microhei openclipart-svg librsvg2-bin \
        libpangoft2-1.0-0 libharfbuzz-subset0 \
    && rm -rf /var/lib/apt/lists/*

RUN useradd --uid 1000 --create-home studio && install -d -o studio -g studio /data
WORKDIR /app

ARG REQUIREMENTS=requirements-core.txt
COPY requirements*.txt ./
RUN pip install --no-cache-dir -r "$REQUIREMENTS" -r requirements-pdf.txt
COPY . .

ENV PUYU_DATA_DIR=/data PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 1000
VOLUME /data
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/healthz', timeout=4)"]
CMD ["python", "launch.py", "--host", "0.0.0.0", "--port", "7860"]
