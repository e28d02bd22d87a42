//! The wire's messages, from the .proto files that phones' makers read: no `protoc` needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = "foretap/v1/events.proto";
    println!("cargo::rerun-if-changed=proto/{file}");
    let descriptors = protox::compile([file], ["proto"])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
