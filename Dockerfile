# The server and Python, for functions and scripts:
#
#   docker build -t httpipe .
#   docker run --rm -p 127.0.0.1:3000:3000 -e HTTPIPE_CALLERS=anyone -v "$PWD:/app:ro" httpipe run calculate.py:fib
#
# `-p 127.0.0.1:…` lets this machine in and no other. Where others are to ask, give them keys
# (docs/guard.md) and name the file in HTTPIPE_CALLERS instead of "anyone".
#
# Another program needs its own base: copy /usr/local/bin/httpipe from this image into it.
FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --locked --features nats,redis,tls --bin httpipe && strip target/release/httpipe

FROM python:3.13-slim-bookworm
COPY --from=build /src/target/release/httpipe /usr/local/bin/
COPY --from=build /src/python/httpipe /usr/local/lib/python3.13/site-packages/httpipe
RUN useradd --system --uid 990 --no-create-home httpipe
USER 990
WORKDIR /app
# Callers reach only what listens on all addresses of the container. Operators ask inside of it:
# docker exec CONTAINER httpipe reload
ENV HTTPIPE_LISTEN=0.0.0.0:3000
EXPOSE 3000
# SIGTERM lets accepted calls finish. As the first process the server reaps what its programs leave.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3001/ready', timeout=2)"]
ENTRYPOINT ["httpipe"]
CMD ["run"]
