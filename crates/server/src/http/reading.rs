//! The reading endpoints: private key → scope → `query` → JSON.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, header, request::Parts},
    response::{IntoResponse, Response},
};
use query::{
    AggregationRequest, AggregationRow, DailyAggregation, DailySummary, EventNames, EventSources, EventsRequest,
    FiveMinuteAggregation, HourlyAggregation, Page, PageAnswer, RealtimeMetrics, StoredEvent, SummaryRequest,
    TimeRange,
};
use serde::Serialize;
use store::ProjectScope;
use tokio::time::Instant;

use super::{
    client::{self, Peer},
    cors,
    error::{ApiError, ErrorBody},
};
use crate::{engine::Engine, metrics::Endpoint};

/// Parameters of every filtered list, for the description.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes parameters that `query` reads by itself")]
pub struct ListParameters {
    /// First time, RFC 3339; default: 24 hours before `end_date`.
    start_date: Option<String>,
    /// First time after the range, RFC 3339; default: 24 hours after `start_date`, or now.
    end_date: Option<String>,
    /// Only this name.
    event_name: Option<String>,
    /// Only this source, by id.
    event_source_id: Option<uuid::Uuid>,
    /// Only this user.
    user_id: Option<String>,
    /// From 1.
    page: Option<u64>,
    /// 1 to 1000, default 50.
    page_size: Option<u32>,
}

macro_rules! endpoint {
    ($(#[$doc:meta])* $name:ident, $path:literal, [$($parameters:ty)?], $body:ty, $call:ident, $answer:expr) => {
        $(#[$doc])*
        #[utoipa::path(
            get, path = $path, tag = "Reading", params($($parameters)?),
            responses((status = 200, body = $body), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
                (status = 404, body = ErrorBody), (status = 422, body = ErrorBody), (status = 429, body = ErrorBody), (status = 503, body = ErrorBody)),
            security(("private_key" = [])),
        )]
        pub async fn $name(State(engine): State<Arc<Engine>>, request: Request) -> Response {
            let (parts, _) = request.into_parts();
            respond(&engine, &parts, async |$call: Call<'_>| -> Result<$body, ApiError> { $answer }).await
        }
    };
}

endpoint!(
    /// Stored events, newest first.
    events, "/api/events/query/", [ListParameters], PageAnswer<StoredEvent>, call, {
        let request = EventsRequest::parse(&call.pairs(), call.engine.clock().now()).map_err(invalid)?;
        let page = query::read_events(&**call.engine.store(), &call.scope, &request).await?;
        Ok(call.page(page, request.filters.range))
    }
);
endpoint!(
    /// Events, users and sessions by local day, source and name.
    daily, "/api/events/aggregations/daily/", [ListParameters], PageAnswer<DailyAggregation>, call, call.aggregations().await
);
endpoint!(
    /// Events, users and sessions by hour, source and name.
    hourly, "/api/events/aggregations/hourly/", [ListParameters], PageAnswer<HourlyAggregation>, call, call.aggregations().await
);
endpoint!(
    /// Events, users and sessions by 5 minutes, source and name.
    five_minutes, "/api/events/aggregations/5min/", [ListParameters], PageAnswer<FiveMinuteAggregation>, call, call.aggregations().await
);
endpoint!(
    /// The project by local day.
    summaries, "/api/events/summaries/daily/", [ListParameters], PageAnswer<DailySummary>, call, {
        let request = SummaryRequest::parse(&call.pairs(), call.engine.clock().now()).map_err(invalid)?;
        let page = query::read_daily_summaries(&**call.engine.store(), &call.scope, &request).await?;
        Ok(call.page(page, request.filters.range))
    }
);
endpoint!(
    /// What happens now.
    realtime, "/api/events/metrics/realtime/", [], RealtimeMetrics, call, {
        let now = call.engine.clock().now();
        Ok(query::read_realtime_metrics(&**call.engine.store(), &call.scope, now).await?)
    }
);
endpoint!(
    /// Names of the events of the last 30 days.
    names, "/api/events/names/", [], EventNames, call, {
        Ok(query::read_event_names(&**call.engine.store(), &call.scope, call.engine.clock().now()).await?)
    }
);
endpoint!(
    /// Active sources, by name.
    sources, "/api/events/sources/", [], EventSources, call, Ok(query::list_event_sources(&call.scope))
);

/// Answers a preflight of a page that may read.
pub async fn preflight(State(engine): State<Arc<Engine>>, headers: HeaderMap) -> Response {
    let allowed = may_read(&engine, &headers);
    let mut response = cors::preflight(&headers);
    if !allowed {
        response.headers_mut().remove(header::ACCESS_CONTROL_ALLOW_ORIGIN);
    }
    response
}

/// An authenticated question.
struct Call<'a> {
    engine: &'a Engine,
    parts: &'a Parts,
    scope: ProjectScope,
}

async fn respond<T: Serialize>(
    engine: &Engine,
    parts: &Parts,
    answer: impl AsyncFnOnce(Call<'_>) -> Result<T, ApiError>,
) -> Response {
    let started = Instant::now();
    let outcome = async {
        let peer = parts.extensions.get::<Peer>().copied().unwrap_or_default();
        let address = client::address(peer, &parts.headers, &engine.config.trusted_proxies);
        client::check_address_limit(engine, address).await?;
        let scope = client::bearer(&parts.headers).and_then(|key| engine.directory.reader(key));
        let scope = scope.ok_or(ApiError::unauthorized("private"))?;
        answer(Call { engine, parts, scope }).await
    };
    let outcome = outcome.await;
    engine.metrics.request(
        Endpoint::Reading,
        outcome.as_ref().err().map(ApiError::code),
        started.elapsed(),
    );
    let mut response = match outcome {
        Ok(body) => Json(body).into_response(),
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    // Numbers change with every event, and they are one project's alone.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    if may_read(engine, &parts.headers) {
        cors::expose(&parts.headers, headers);
    }
    response
}

/// Whether the page that asks is of an origin that the server's settings let read.
fn may_read(engine: &Engine, headers: &HeaderMap) -> bool {
    client::header_text(headers, &header::ORIGIN)
        .is_some_and(|origin| ingest::OriginRules::from_stored(&engine.config.cors_allowed_origins).allows(origin))
}

fn invalid(fields: model::FieldErrors) -> ApiError {
    query::QueryError::Invalid(fields).into()
}

impl Call<'_> {
    /// The parameters of the URL, decoded.
    fn pairs(&self) -> Vec<(String, String)> {
        let query = self.parts.uri.query().unwrap_or_default();
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    async fn aggregations<R: AggregationRow>(&self) -> Result<PageAnswer<R>, ApiError> {
        let request = AggregationRequest::parse(&self.pairs(), self.engine.clock().now()).map_err(invalid)?;
        let page = query::read_aggregations(&**self.engine.store(), &self.scope, &request).await?;
        Ok(self.page(page, request.filters.range))
    }

    /// A page with the URLs of its neighbours: the request's own with another `page`, and with its range spelled out, because a
    /// range that ends "now" would move from page to page.
    fn page<T>(&self, page: Page<T>, range: TimeRange) -> PageAnswer<T> {
        let base = self.base_url();
        let pairs = self.pairs();
        page.into_answer(|number| {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.extend_pairs(
                pairs
                    .iter()
                    .filter(|(name, _)| !["start_date", "end_date", "page"].contains(&name.as_str())),
            );
            query.append_pair("start_date", &range.from.to_string());
            query.append_pair("end_date", &range.to.to_string());
            query.append_pair("page", &number.to_string());
            format!("{base}?{}", query.finish())
        })
    }

    /// Scheme, host and path as the client sees them.
    fn base_url(&self) -> String {
        let peer = self.parts.extensions.get::<Peer>().copied().unwrap_or_default();
        let https = client::over_https(peer, &self.parts.headers, &self.engine.config.trusted_proxies);
        let scheme = if https { "https" } else { "http" };
        let host = client::header_text(&self.parts.headers, &header::HOST).unwrap_or("localhost");
        let original = self.parts.extensions.get::<axum::extract::OriginalUri>();
        let path = original.map_or(self.parts.uri.path(), |original| original.0.path());
        format!("{scheme}://{host}{path}")
    }
}
