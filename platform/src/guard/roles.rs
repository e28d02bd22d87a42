//! Who may do what: one table, from which requests are judged. A route that is not in it is refused.

use serde::{Deserialize, Serialize};

/// What somebody is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A phone: sends events of one person, and asks for that person.
    Device,
    /// A program that sends and asks for anybody.
    Service,
    /// Reads figures.
    Analyst,
    /// Runs the system.
    Operator,
    /// Does all, people's rights included.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Device, Self::Service, Self::Analyst, Self::Operator, Self::Admin];

    /// As tokens and API keys name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Service => "service",
            Self::Analyst => "analyst",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The role of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// Something that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The HTTP method.
    pub method: &'static str,
    /// The path, with `{..}` for what changes.
    pub path: &'static str,
    /// Who may.
    pub roles: &'static [Role],
}

/// Everything of foretap's own that is not for anybody. `/healthz` and `/readyz` are: they say nothing of people or
/// figures.
pub const ROUTES: [Route; 12] = {
    use Role::{Admin, Analyst, Device, Operator, Service};
    [
        Route { method: "POST", path: "/v1/events", roles: &[Device, Service, Admin] },
        Route { method: "POST", path: "/v1/predict", roles: &[Device, Service, Admin] },
        Route { method: "POST", path: "/v1/predict:batch", roles: &[Device, Service, Admin] },
        Route { method: "POST", path: "/v1/feedback", roles: &[Device, Service, Admin] },
        Route { method: "POST", path: "/foretap.v1.Predictions/Predict", roles: &[Device, Service, Admin] },
        Route {
            method: "POST",
            path: "/foretap.v1.Predictions/PredictEach",
            roles: &[Device, Service, Admin],
        },
        Route { method: "POST", path: "/foretap.v1.Predictions/Feedback", roles: &[Device, Service, Admin] },
        Route { method: "POST", path: "/v1/flush", roles: &[Operator, Admin] },
        Route { method: "GET", path: "/v1/status", roles: &[Analyst, Operator, Admin] },
        Route { method: "GET", path: "/metrics", roles: &[Analyst, Operator, Admin] },
        Route { method: "GET", path: "/v1/people/{user}", roles: &[Admin] },
        Route { method: "POST", path: "/v1/people/{user}/forget", roles: &[Admin] },
    ]
};

/// What the protocols of other model servers ask for: as `POST /v1/predict`. `/ping`, `/v2/health/live` and
/// `/v2/health/ready` are for anybody.
pub const PROTOCOL_ROUTES: [Route; 22] = {
    const fn route(method: &'static str, path: &'static str) -> Route {
        Route { method, path, roles: &[Role::Device, Role::Service, Role::Admin] }
    }
    [
        route("POST", "/invocations"),
        route("GET", "/models"),
        route("POST", "/models"),
        route("GET", "/models/{model}"),
        route("DELETE", "/models/{model}"),
        route("GET", "/models/{model}/{version}"),
        route("POST", "/models/{model}/invoke"),
        route("POST", "/predictions/{model}"),
        route("POST", "/predictions/{model}/{version}"),
        route("GET", "/v1/models/{model}"),
        route("POST", "/v1/models/{model}"),
        route("GET", "/v1/models/{model}/metadata"),
        route("GET", "/v1/models/{model}/versions/{version}"),
        route("POST", "/v1/models/{model}/versions/{version}"),
        route("GET", "/v1/models/{model}/versions/{version}/metadata"),
        route("GET", "/v2"),
        route("GET", "/v2/models/{model}"),
        route("GET", "/v2/models/{model}/ready"),
        route("POST", "/v2/models/{model}/infer"),
        route("GET", "/v2/models/{model}/versions/{version}"),
        route("GET", "/v2/models/{model}/versions/{version}/ready"),
        route("POST", "/v2/models/{model}/versions/{version}/infer"),
    ]
};

/// Whether a role may do this.
pub fn may(method: &str, path: &str, role: Role) -> bool {
    // A server answers HEAD where it answers GET.
    let method = if method == "HEAD" { "GET" } else { method };
    let all = ROUTES.iter().chain(&PROTOCOL_ROUTES);
    let mut routes = all.filter(|route| (route.method, route.path) == (method, path));
    routes.any(|route| route.roles.contains(&role))
}
