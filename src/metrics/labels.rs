//! The values that labels may have.

/// An enum whose variants are label values.
macro_rules! label {
    ($(#[$doc:meta])* $visibility:vis $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $visibility enum $name { $($(#[$variant_doc])* $variant),* }

        impl Label for $name {
            const ALL: &'static [$name] = &[$($name::$variant),*];

            fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }
        }
    };
}

/// A closed set of label values.
pub trait Label: Copy + 'static {
    const ALL: &'static [Self];

    fn as_str(self) -> &'static str;
}

label!(
    /// The queues by the names the documents use.
    pub Queue {
        Request = "request_queue",
        Response = "response_queue",
        TerminateRequest = "terminate_request_queue",
        TerminateConfirm = "terminate_confirm_queue",
        Dead = "dead_letter_queue",
    }
);

label!(
    /// Where a message is in its queue.
    pub(super) QueueState {
        Visible = "visible",
        InFlight = "in_flight",
        Delayed = "delayed",
    }
);

label!(
    /// What the controller did to the pool.
    pub Action {
        Launch = "launch",
        Cancel = "cancel",
        Request = "request",
        Terminate = "terminate",
    }
);

label!(
    /// Why a launch was refused: EC2's codes that mean "later or elsewhere", and our own.
    pub LaunchFailure {
        InsufficientInstanceCapacity = "InsufficientInstanceCapacity",
        UnfulfillableCapacity = "UnfulfillableCapacity",
        MaxSpotInstanceCountExceeded = "MaxSpotInstanceCountExceeded",
        InstanceLimitExceeded = "InstanceLimitExceeded",
        VcpuLimitExceeded = "VcpuLimitExceeded",
        RequestLimitExceeded = "RequestLimitExceeded",
        /// No answer within the deadline; it may have happened.
        Timeout = "timeout",
        /// A process could not be started.
        Spawn = "spawn",
        /// It was launched and never said that it is ready.
        NeverReady = "never_ready",
        Other = "other",
    }
);

impl LaunchFailure {
    /// By the code in EC2's answer.
    pub fn of_code(code: &str) -> LaunchFailure {
        LaunchFailure::ALL.iter().copied().find(|label| label.as_str() == code).unwrap_or(LaunchFailure::Other)
    }
}

label!(
    /// A stage of one job.
    pub Stage {
        Fetch = "fetch",
        Decode = "decode",
        Infer = "infer",
        Store = "store",
    }
);

label!(
    /// How the work on a message ended: by its answer, or by what its worker reports.
    pub Outcome {
        /// It has its label.
        Classified = "classified",
        /// The image cannot be classified: answered with an error, never tried again.
        Refused = "refused",
        /// Older than its time to live, or its image was gone.
        Expired = "expired",
        /// The result was there already.
        Duplicate = "duplicate",
        /// The lease was lost while the work went on.
        LeaseLost = "lease_lost",
        /// Given back to the queue to be tried again.
        GivenBack = "given_back",
        /// Given up after the last attempt.
        DeadLettered = "dead_lettered",
    }
);

label!(
    /// Loops that run as long as their role does. Each has an age and a count of rounds.
    pub Loop {
        WebAccept = "web_accept",
        WebResponses = "web_responses",
        WebResults = "web_results",
        WebWriter = "web_writer",
        Controller = "controller",
        Confirmations = "confirmations",
        DeadLetters = "dead_letters",
        Sweep = "sweep",
        Disk = "disk",
        AppIntake = "app_intake",
        AppTerminateLook = "app_terminate_look",
        AppReport = "app_report",
    }
);

label!(
    /// Routes by template, never by path.
    pub Route {
        Upload = "POST /",
        Classify = "/classify",
        ClassifyNamed = "/classify/{name}",
        Results = "/results/{id}",
        Page = "GET /",
        Live = "/live",
        OpenApi = "/openapi.yaml",
        Healthz = "/healthz",
        Readyz = "/readyz",
        /// Anything else, a request that cannot be read included.
        Other = "other",
    }
);

/// Statuses of an upload: 499 is a client that hung up before its answer.
const UPLOAD: [&str; 15] =
    ["200", "202", "400", "401", "408", "410", "413", "415", "422", "429", "499", "500", "503", "507", "other"];
const RESULTS: [&str; 11] = ["200", "202", "400", "401", "404", "410", "415", "422", "500", "503", "other"];
const PLAIN: [&str; 5] = ["200", "401", "405", "503", "other"];
const OTHER: [&str; 8] = ["400", "401", "404", "405", "408", "414", "431", "other"];

impl Route {
    /// The statuses that the route answers with, for series that are there before the first of them.
    pub(super) fn statuses(self) -> &'static [&'static str] {
        match self {
            Route::Upload | Route::Classify | Route::ClassifyNamed => &UPLOAD,
            Route::Results => &RESULTS,
            Route::Page | Route::Live | Route::OpenApi | Route::Healthz | Route::Readyz => &PLAIN,
            Route::Other => &OTHER,
        }
    }
}

/// The label of a status: the number where we ever answer with it, else `other`.
pub(super) fn status(status: u16) -> &'static str {
    let text = status.to_string();
    let known = UPLOAD.iter().chain(&RESULTS).chain(&PLAIN).chain(&OTHER);
    known.copied().find(|label| *label == text).unwrap_or("other")
}
