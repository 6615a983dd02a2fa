//! The collector's gRPC server.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{
    LogsService, LogsServiceServer,
};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding::Gzip;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::pki::Pki;
use super::{Export, State};

struct Services(Arc<State>);

/// Serves until the future is dropped.
pub(super) async fn serve(listener: TcpListener, pki: Option<Pki>, state: Arc<State>) {
    let mut server = Server::builder();
    if let Some(pki) = pki {
        let tls = ServerTlsConfig::new()
            .identity(Identity::from_pem(&pki.server.certificate, &pki.server.key))
            .client_ca_root(Certificate::from_pem(&pki.authority));
        server = server.tls_config(tls).unwrap();
    }
    let services = || Services(Arc::clone(&state));
    let logs = LogsServiceServer::new(services());
    let traces = TraceServiceServer::new(services());
    let metrics = MetricsServiceServer::new(services());
    let routes = server
        .add_service(logs.accept_compressed(Gzip).send_compressed(Gzip))
        .add_service(traces.accept_compressed(Gzip).send_compressed(Gzip))
        .add_service(metrics.accept_compressed(Gzip).send_compressed(Gzip));
    routes.serve_with_incoming(TcpIncoming::from(listener)).await.unwrap();
}

impl Services {
    async fn answer<Message: prost::Message>(
        &self,
        request: Request<Message>,
        export: impl FnOnce(Message) -> Export,
    ) -> Result<Option<(i64, String)>, Status> {
        let (metadata, _, message) = request.into_parts();
        let bytes = message.encoded_len();
        match self.0.answer(metadata.into_headers(), bytes, export(message)).await {
            Ok(0) => Ok(None),
            Ok(rejected) => Ok(Some((rejected, "some were odd".into()))),
            Err(refusal) => Err(match refusal.after {
                None => Status::new(refusal.grpc, refusal.message),
                Some(after) => Status::with_error_details(
                    refusal.grpc,
                    refusal.message,
                    ErrorDetails::with_retry_info(Some(after)),
                ),
            }),
        }
    }
}

#[tonic::async_trait]
impl LogsService for Services {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        let partial = self.answer(request, Export::Logs).await?;
        let partial_success = partial.map(|(rejected_log_records, error_message)| {
            ExportLogsPartialSuccess { rejected_log_records, error_message }
        });
        Ok(Response::new(ExportLogsServiceResponse { partial_success }))
    }
}

#[tonic::async_trait]
impl TraceService for Services {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let partial = self.answer(request, Export::Traces).await?;
        let partial_success = partial.map(|(rejected_spans, error_message)| {
            ExportTracePartialSuccess { rejected_spans, error_message }
        });
        Ok(Response::new(ExportTraceServiceResponse { partial_success }))
    }
}

#[tonic::async_trait]
impl MetricsService for Services {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let partial = self.answer(request, Export::Metrics).await?;
        let partial_success = partial.map(|(rejected_data_points, error_message)| {
            ExportMetricsPartialSuccess { rejected_data_points, error_message }
        });
        Ok(Response::new(ExportMetricsServiceResponse { partial_success }))
    }
}
