# server, client and proofsync, static, in an image without a shell.
#
#   docker build .
#   docker buildx build --platform linux/amd64,linux/arm64 \
#     --build-arg VERSION="$(git describe --tags --always)" \
#     --build-arg COMMIT="$(git rev-parse HEAD)" \
#     --build-arg CREATED="$(git show -s --format=%cI)" \
#     --build-arg SOURCE_DATE_EPOCH="$(git show -s --format=%ct)" .
#
# The same commit and arguments give the same programs, byte for byte.

ARG GO_VERSION=1.26

# The compiler runs on the machine that builds, whatever it builds for.
FROM --platform=$BUILDPLATFORM golang:${GO_VERSION} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod \
    go mod download
COPY . .
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=
ARG COMMIT=
ARG SOURCE_DATE_EPOCH=0
ENV CGO_ENABLED=0 GOCACHE=/go/build-cache
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/go/build-cache \
    mkdir -p /out/data && \
    GOOS=${TARGETOS:-$(go env GOHOSTOS)} GOARCH=${TARGETARCH:-$(go env GOHOSTARCH)} \
    go build -trimpath -buildvcs=false \
        -ldflags "-s -w -buildid= -X github.com/proofsync/proofsync/pkg/telemetry.version=${VERSION} -X github.com/proofsync/proofsync/pkg/telemetry.commit=${COMMIT}" \
        -o /out/bin/ ./cmd/... && \
    find /out -exec touch -h -d "@${SOURCE_DATE_EPOCH}" {} +

FROM gcr.io/distroless/static-debian12:nonroot
ARG VERSION=
ARG COMMIT=
ARG CREATED=
LABEL org.opencontainers.image.title="proofsync" \
      org.opencontainers.image.description="An authenticated database and its verified replicas" \
      org.opencontainers.image.source="https://github.com/proofsync/proofsync" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.created="${CREATED}"
COPY LICENSE /LICENSE
COPY --from=build /out/bin/ /usr/local/bin/
# For a volume: owned by the user of the process.
COPY --from=build --chown=65532:65532 /out/data /data
# In a container, the loopback address reaches nobody.
ENV PROOFSYNC_HOST=0.0.0.0
USER 65532:65532
EXPOSE 8080 8081 8082 9090 9091
# docker run IMAGE server …, docker run IMAGE client …
CMD ["/usr/local/bin/proofsync"]
