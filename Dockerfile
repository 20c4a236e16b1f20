# The one binary, tidemark, in an image without compilers, run by a user without rights.
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --bin tidemark && cp target/release/tidemark /tidemark

FROM debian:bookworm-slim
# curl is for the health checks of docker-compose.yml.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home tidemark \
    && install -d -o tidemark -g tidemark /data /tokens
COPY --from=build /tidemark /usr/local/bin/tidemark
USER tidemark
ENV TIDEMARK_DATA_DIR=/data TIDEMARK_LOG_FORMAT=json
VOLUME /data
EXPOSE 8080
ENTRYPOINT ["tidemark"]
# From outside its container a loopback listener cannot be reached; everybody else needs a token (docs/security.md).
CMD ["up", "--listen", "0.0.0.0:8080"]
