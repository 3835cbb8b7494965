# CPU:  docker build -t sweeper .
# CUDA: docker build -t sweeper --build-arg TORCH=https://download.pytorch.org/whl/cu128 .
# Run:  docker run --init --shm-size=1g -v "$PWD:/work" sweeper launch search_spaces/quickstart.yaml
# `docker stop` ends a launch gracefully; give it the time: docker stop --time 30.
FROM python:3.11-slim

ARG TORCH=https://download.pytorch.org/whl/cpu
# The compiler is for the C kernels, git for provenance.
RUN apt-get update && apt-get install --no-install-recommends --yes gcc git libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/sweeper
COPY . .
RUN pip install --no-cache-dir --extra-index-url "$TORCH" --constraint constraints.txt ".[cluster]"

WORKDIR /work
ENTRYPOINT ["sweeper"]
CMD ["--help"]
