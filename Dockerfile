# Two images from one file:
#
#   docker build --target source      -t source-whoop .
#   docker build --target destination -t destination-iceberg .
#
# and for several platforms at once, with what has a registry (docs/releases.md):
#
#   docker buildx build --platform linux/amd64,linux/arm64 --target source -t REGISTRY/source-whoop:VERSION --push .
#
# Both bases are arguments, so the same file builds where no registry is reachable (acceptance/images).
ARG GO_IMAGE=docker.io/library/golang:1.26.8-alpine3.24@sha256:8ac98ca534ac3f51e1f420a1dd2c15e74c75cfa0f23f3ad27eb5d7236c349a0c
ARG BASE_IMAGE=docker.io/library/alpine:3.22@sha256:14358309a308569c32bdc37e2e0e9694be33a9d99e68afb0f5ff33cc1f695dce

# Cross-compiling on the build platform is much faster than compiling under emulation.
FROM --platform=$BUILDPLATFORM ${GO_IMAGE} AS build
ARG TARGETARCH
ARG VERSION=dev
ARG COMMIT=
ARG TIME=
WORKDIR /src
COPY . .
# The same programs as in the archives of a release, with their bills of materials and licences.
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go run ./internal/dist -version "${VERSION}" -commit "${COMMIT}" -time "${TIME}" programs /out "linux/${TARGETARCH}"

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
COPY --from=build /src/LICENSE /out/source-licenses.txt /out/source.cdx.json /usr/share/doc/whoop-iceberg/
ENV AIRBYTE_ENTRYPOINT=/airbyte/source
ENTRYPOINT ["/airbyte/source"]
LABEL io.airbyte.name=ingest-connectors/source-whoop \
      io.airbyte.version=${VERSION}

FROM runtime AS destination
ARG VERSION=dev
COPY --from=build /out/destination /airbyte/destination
COPY --from=build /src/LICENSE /out/destination-licenses.txt /out/destination.cdx.json /usr/share/doc/whoop-iceberg/
ENV AIRBYTE_ENTRYPOINT=/airbyte/destination
ENTRYPOINT ["/airbyte/destination"]
LABEL io.airbyte.name=ingest-connectors/destination-iceberg \
      io.airbyte.version=${VERSION}
