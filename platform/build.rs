//! The wire's messages and services, from the .proto files that phones' makers read: no `protoc` needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["foretap/v1/events.proto", "foretap/v1/predict.proto"];
    files.iter().for_each(|file| println!("cargo::rerun-if-changed=proto/{file}"));
    let descriptors = protox::compile(files, ["proto"])?;
    // Without a transport: the server's own connections carry it. The client is for tests.
    tonic_prost_build::configure().build_transport(false).compile_fds(descriptors)?;
    Ok(())
}
