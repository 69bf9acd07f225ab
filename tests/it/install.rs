//! A service without credentials: what the App asks for, who may register it, and everything that
//! can go wrong on the way to GitHub and back.

mod browser;
mod chromium;
mod doctor;
mod flow;
mod manifest;
mod readme;
