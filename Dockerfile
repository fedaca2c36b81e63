# Builds the images of a clean checkout: the operator's with `docker build .`, the simulator's with
# `docker build --target simulator .`. It needs the network, for the base image and the crates.
# The last stages are those of hack/image/Containerfile and simulator/Containerfile, with which hack/image/build packs a
# binary that is built already.
#
# The Rust version that CI tests with. Pinned by its tag: the tag may get newer Debian packages.
FROM docker.io/library/rust:1.95.0-bookworm AS build
# rust-toolchain.toml asks for `stable`, which rustup would download beside the toolchain of the base image.
ENV RUSTUP_TOOLCHAIN=$RUST_VERSION
# The commit, for metrics and logs: --build-arg DLQ_OPERATOR_REVISION="$(git rev-parse HEAD)".
ARG DLQ_OPERATOR_REVISION
WORKDIR /src
COPY . .
RUN cargo build --release --locked --bin dlq-operator \
 && hack/image/rootfs target/release/dlq-operator /rootfs

# On top of the operator's stage: the crates that both use are compiled once.
FROM build AS build-simulator
# rootfs fills an empty folder only.
RUN rm -r /rootfs \
 && cargo build --release --locked --package dlq-simulator \
 && hack/image/rootfs target/release/dlq-simulator /rootfs

FROM scratch AS simulator
COPY --from=build-simulator --chown=0:0 /rootfs/ /
USER 65532:65532
WORKDIR /
EXPOSE 8081/tcp 8082/tcp
ENTRYPOINT ["/usr/local/bin/dlq-simulator"]

# The last one: what is built without --target.
FROM scratch
COPY --from=build --chown=0:0 /rootfs/ /
USER 65532:65532
WORKDIR /
EXPOSE 8080/tcp
ENTRYPOINT ["/usr/local/bin/dlq-operator"]
