//! A service without credentials: the permissions of the App, who may register it, and everything that can go
//! wrong on the way to GitHub and back.

mod browser;
mod chromium;
mod doctor;
mod flow;
mod manifest;
mod newcomer;
