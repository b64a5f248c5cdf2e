# Two images from one file:
#
#   docker build --target source      -t source-whoop .
#   docker build --target destination -t destination-iceberg .
#
# Both bases are arguments, so the same file builds where no registry is reachable (acceptance/images).
ARG GO_IMAGE=docker.io/library/golang:1.26-alpine
ARG BASE_IMAGE=docker.io/library/alpine:3.22

# Cross-compiling on the build platform is much faster than compiling under emulation.
FROM --platform=$BUILDPLATFORM ${GO_IMAGE} AS build
ARG TARGETARCH
ARG VERSION=dev
ARG COMMIT=
ARG DATE=
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=linux GOARCH=${TARGETARCH} go build -trimpath -tags minicore_disabled \
      -ldflags "-s -w -X github.com/ingest-connectors/whoop-iceberg/protocol/cli.Version=${VERSION} \
        -X github.com/ingest-connectors/whoop-iceberg/protocol/cli.Commit=${COMMIT} \
        -X github.com/ingest-connectors/whoop-iceberg/protocol/cli.Date=${DATE}" \
      -o /out/ ./source ./destination

# Airbyte's launcher starts connectors with `sh -c` and calls sleep, mv, touch and [: the base holds a shell.
# The user is numeric, because Kubernetes' runAsNonRoot can check that. Nothing outside /tmp is written.
FROM ${BASE_IMAGE} AS runtime
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
ENV HOME=/tmp
WORKDIR /airbyte
USER 1000:1000

FROM runtime AS source
ARG VERSION=dev
COPY --from=build /out/source /airbyte/source
ENV AIRBYTE_ENTRYPOINT=/airbyte/source
ENTRYPOINT ["/airbyte/source"]
LABEL io.airbyte.name=ingest-connectors/source-whoop \
      io.airbyte.version=${VERSION}

FROM runtime AS destination
ARG VERSION=dev
COPY --from=build /out/destination /airbyte/destination
ENV AIRBYTE_ENTRYPOINT=/airbyte/destination
ENTRYPOINT ["/airbyte/destination"]
LABEL io.airbyte.name=ingest-connectors/destination-iceberg \
      io.airbyte.version=${VERSION}
