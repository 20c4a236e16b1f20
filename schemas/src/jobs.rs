//! Jobs that were applied, field by field as in `avsc/jobs/`.

use crate::avro_record;

avro_record! {
    /// `JobEntry.avsc`: a job and its versions.
    pub struct JobEntry {
        /// Name of the job and of its view.
        pub job: String,
        /// When this was written, milliseconds since the epoch.
        pub changed_at: i64,
        /// The version that the view's bare name means.
        pub current: Option<i32>,
        /// The one before it.
        pub previous: Option<i32>,
        /// By version; none when the job is retired.
        pub versions: Vec<JobVersion>,
        /// Versions of which something may still be there.
        pub retiring: Vec<JobRetiring>,
    }
}

avro_record! {
    /// A version of a job.
    pub struct JobVersion {
        /// 1 or more.
        pub version: i32,
        /// When this number was applied first, milliseconds since the epoch: tells it from one of that number that was retired.
        pub created_at: i64,
        /// When it was applied last, milliseconds since the epoch.
        pub applied_at: i64,
        /// Of everything that changes what its rows mean.
        pub fingerprint: i64,
        /// The file, YAML.
        pub spec: String,
        /// What its expressions were checked against.
        pub sources: Vec<JobSource>,
    }
}

avro_record! {
    /// A version that runs no more and of which something may still be there.
    pub struct JobRetiring {
        /// 1 or more.
        pub version: i32,
        /// When it was retired, milliseconds since the epoch.
        pub retired_at: i64,
        /// Topics to be deleted.
        pub topics: Vec<String>,
        /// Consumer groups to be deleted.
        pub groups: Vec<String>,
        /// Table of the view, to be dropped.
        pub table: String,
        /// The process that removes it; none yet.
        pub replica: Option<String>,
        /// After that another process may take over, milliseconds since the epoch.
        pub until: i64,
    }
}

avro_record! {
    /// A source topic and the schema of its records.
    pub struct JobSource {
        /// Topic.
        pub topic: String,
        /// Avro JSON.
        pub schema: String,
    }
}
