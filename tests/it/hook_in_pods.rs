//! Everything where it is to work, on a real node with no double in the path: the hook, called by a
//! runner in its pod under the account, role and policies as shipped, with several images; the agent
//! in its `DaemonSet`.

mod agent;
mod agent_pods;
mod arc;
mod at_once;
mod attacks;
mod by_hand;
mod chart;
mod ci_pod;
mod ci_systems;
mod components;
mod cpu;
mod cri_o;
mod engines;
mod failures;
mod helm;
mod hostile;
mod images;
mod impostors;
mod in_front;
mod installed;
mod javascript;
mod killed;
mod kinds;
mod kubectl;
mod kubelet;
mod memory;
mod neighbours;
mod nri;
mod options;
mod policies;
mod pre_pull;
mod runner;
mod runtimes;
mod secrets;
mod services;
mod site;
mod standby;
mod users;
mod versions;
mod volumes;
mod walk;
