//! `kubernetes_sd_configs`: targets from the API of Kubernetes. Source: `discovery/kubernetes`.
//!
//! A reflector for each kind of object lists and watches; one task brings what they tell into one
//! state and makes the groups that change with it. Only fields that labels need are kept, and of
//! objects that no other object's labels ask for, only their names.

mod api;
mod groups;
mod labels;
mod objects;
mod reflector;
mod state;
mod store;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use firesteel_config::{KubernetesRole, KubernetesSdConfig};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{Discoverer, DiscoveryError, DiscoveryMetrics, Mechanisms, Updates};
use api::{Cluster, Resource};
use objects::Object;
use reflector::{Backoff, Change, Reflector};
use state::{Event, State};

/// Events that may wait.
const WAITING: usize = 256;
/// Events that come so soon after another are taken in together.
const GATHER: Duration = Duration::from_millis(50);
/// Events taken in together, at most.
const GATHER_MOST: usize = 4096;
/// The wait after a first failure.
const FIRST_WAIT: Duration = Duration::from_millis(800);

/// Finds the targets of a cluster.
#[derive(Debug)]
pub struct KubernetesDiscoverer {
    cluster: Cluster,
    config: KubernetesSdConfig,
    metrics: Arc<DiscoveryMetrics>,
    first_wait: Duration,
}

/// A reflector that is to be started.
type Start = Box<dyn FnOnce(usize, mpsc::Sender<(usize, Event)>) -> Task + Send>;
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

impl KubernetesDiscoverer {
    /// From one entry of `kubernetes_sd_configs`. Nothing is asked of the cluster yet.
    ///
    /// # Errors
    /// There is neither `api_server` nor `kubeconfig_file` and we are not in a pod; the kubeconfig
    /// cannot be read; the HTTP client cannot be made.
    pub fn new(
        config: &KubernetesSdConfig,
        mechanisms: &Mechanisms,
    ) -> Result<Self, DiscoveryError> {
        let metrics = mechanisms.metrics.clone();
        let cluster = Cluster::connect(config, &mechanisms.user_agent, metrics.clone())?;
        Ok(Self { cluster, config: config.clone(), metrics, first_wait: FIRST_WAIT })
    }

    /// The namespaces that are looked into; an empty name stands for all.
    fn namespaces(&self) -> Vec<String> {
        let mut namespaces = self.config.namespaces.clone();
        namespaces.extend(self.cluster.own_namespace.clone());
        namespaces.dedup();
        if namespaces.is_empty() && !self.config.own_namespace {
            namespaces.push(String::new());
        }
        namespaces
    }

    /// A resource with its selectors.
    fn resource(
        &self,
        group: &str,
        namespace: &str,
        plural: &str,
        role: Option<KubernetesRole>,
    ) -> Resource {
        let place = if namespace.is_empty() { "" } else { "/namespaces/" };
        let selector = self.config.selectors.iter().find(|s| Some(s.role) == role);
        Resource {
            path: format!("/{group}{place}{namespace}/{plural}"),
            label_selector: selector.map(|s| s.label.clone()).unwrap_or_default(),
            field_selector: selector.map(|s| s.field.clone()).unwrap_or_default(),
        }
    }

    fn start<T: Object>(&self, resource: Resource, wrap: fn(Change<T>) -> Event) -> Start {
        let (cluster, metrics) = (self.cluster.clone(), self.metrics.clone());
        let backoff = Backoff::new(self.first_wait);
        Box::new(move |id, events| {
            let reflector = Reflector { cluster, resource, metrics, backoff, id, events, wrap };
            Box::pin(reflector.run())
        })
    }

    /// All reflectors with the namespaces whose groups wait for them.
    fn reflectors(&self) -> Vec<(String, Start)> {
        use KubernetesRole::{EndpointSlice, Endpoints, Ingress, Node, Pod, Service};
        const CORE: &str = "api/v1";
        let (role, attach) = (self.config.role, self.config.attach);
        let mut all = Vec::new();
        if role == Node {
            let nodes = self.resource(CORE, "", "nodes", Some(Node));
            return vec![(String::new(), self.start(nodes, Event::Nodes))];
        }
        let with_pods = matches!(role, Pod | Endpoints | EndpointSlice);
        if attach.node && with_pods {
            let nodes = self.resource(CORE, "", "nodes", Some(Node));
            all.push((String::new(), self.start(nodes, Event::NodeMetas)));
        }
        if attach.namespace {
            let namespaces = self.resource(CORE, "", "namespaces", None);
            all.push((String::new(), self.start(namespaces, Event::Namespaces)));
        }
        for n in &self.namespaces() {
            let mut add = |start| all.push((n.clone(), start));
            if with_pods {
                let pods = self.resource(CORE, n, "pods", Some(Pod));
                add(self.start(pods, Event::Pods));
                if attach.deployment {
                    let sets = self.resource("apis/apps/v1", n, "replicasets", None);
                    add(self.start(sets, Event::ReplicaSets));
                }
                if attach.cronjob {
                    let jobs = self.resource("apis/batch/v1", n, "jobs", None);
                    add(self.start(jobs, Event::Jobs));
                }
            }
            if matches!(role, Service | Endpoints | EndpointSlice) {
                let services = self.resource(CORE, n, "services", Some(Service));
                add(self.start(services, Event::Services));
            }
            match role {
                Endpoints => {
                    let endpoints = self.resource(CORE, n, "endpoints", Some(Endpoints));
                    add(self.start(endpoints, Event::Endpoints));
                }
                EndpointSlice => {
                    let group = "apis/discovery.k8s.io/v1";
                    let slices = self.resource(group, n, "endpointslices", Some(EndpointSlice));
                    add(self.start(slices, Event::Slices));
                }
                Ingress => {
                    let group = "apis/networking.k8s.io/v1";
                    let ingresses = self.resource(group, n, "ingresses", Some(Ingress));
                    add(self.start(ingresses, Event::Ingresses));
                }
                _ => {}
            }
        }
        all
    }

    async fn follow(self, updates: Updates) {
        let reflectors = self.reflectors();
        let namespaces = reflectors.iter().map(|(namespace, _)| namespace.clone());
        let mut state = State::new(self.config.role, self.config.attach, namespaces);
        let (sender, mut events) = mpsc::channel(WAITING);
        // Aborted when dropped, with this future.
        let mut tasks = JoinSet::new();
        for (id, (_, start)) in reflectors.into_iter().enumerate() {
            tasks.spawn(start(id, sender.clone()));
        }
        drop(sender);
        let mut made = HashMap::new();
        while let Some(first) = events.recv().await {
            let mut batch = vec![first];
            let until = Instant::now() + GATHER;
            while batch.len() < GATHER_MOST {
                match timeout_at(until, events.recv()).await {
                    Ok(Some(event)) => batch.push(event),
                    Ok(None) | Err(_) => break,
                }
            }
            let metrics = self.metrics.clone();
            // Thousands of objects take a while.
            let work = tokio::task::spawn_blocking(move || {
                for (reflector, event) in batch {
                    state.apply(reflector, event, &metrics, &mut made);
                }
                let groups = state.take(&mut made);
                (state, made, groups)
            });
            // It can only fail by a panic, and then there is nothing left to go on with.
            let Ok((known, rest, groups)) = work.await else { return };
            (state, made) = (known, rest);
            if let Some(groups) = groups
                && !updates.send(groups).await
            {
                return;
            }
        }
    }
}

impl Discoverer for KubernetesDiscoverer {
    fn run(
        self: Box<Self>,
        updates: Updates,
        shutdown: CancellationToken,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(async move {
            tokio::select! {
                () = self.follow(updates) => {}
                () = shutdown.cancelled() => {}
            }
        })
    }
}
